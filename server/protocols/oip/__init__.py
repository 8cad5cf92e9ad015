"""The Open Inference Protocol, version 2, over HTTP: the protocol of KServe, Triton and their clients.

https://github.com/kserve/open-inference-protocol at d49cc23; extensions as Triton documents them:
https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""
