"""A trial: one TLS handshake in memory, with the server's own certificate and a client that trusts it alone.

It finds what a look at the files does not: dates, and kinds of keys.
"""

import ssl
from typing import Any, NamedTuple

# The public key of an elliptic curve P-521, as DER begins it: ring, the cryptography of the HTTP server, has
# no signatures for it.
_P521 = bytes.fromhex("06072a8648ce3d020106052b81040023")
# Codes of OpenSSL: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/.
_DATES = {9: "is not valid yet", 10: "has expired"}


class Trial(NamedTuple):
    """The outcome: a reason why the HTTP server cannot use the pair, and a warning; both may be empty."""

    unfit: str = ""
    warning: str = ""


def trial(certificate: str, key: str, leaf: str) -> Trial:
    """Shake hands.

    Args:
        certificate: Path of the chain, in PEM.
        key: Path of its private key, in PEM.
        leaf: The first certificate of the chain, as PEM.

    Raises:
        ssl.SSLError: The two do not belong together, or cannot be read.
    """
    if _P521 in ssl.PEM_cert_to_DER_cert(leaf):
        return Trial(unfit="its key is of the curve P-521, which is not supported: make one of P-256, or RSA")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Without a password OpenSSL would ask at the terminal for that of an encrypted key.
    server.load_cert_chain(certificate, key, password="")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    try:
        facts = _shaken(client, server)
    except ssl.SSLCertVerificationError as error:
        reason = _DATES.get(error.verify_code, f"is refused by clients ({error.verify_message})")
        return Trial(warning=f"the certificate {reason}: renew it, and the server follows")
    if facts.get("version") != 3:
        return Trial(unfit="the certificate is of version 1: sign it with extensions, such as subjectAltName")
    if not facts.get("subjectAltName"):
        return Trial(warning="the certificate has no subjectAltName, where clients look for the host's name")
    return Trial()


def _shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any]:
    """The certificate of the server as the client sees it."""
    forth, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, forth, server_side=False)
    answering = server.wrap_bio(forth, back, server_side=True)
    # Each side takes its turn until neither waits for the other.
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (asking, answering):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    return dict(asking.getpeercert() or {})
