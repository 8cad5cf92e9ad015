"""The operators that an export writes: no others are run.

None of them runs for ever, or reads a file. All but Expand make tensors whose sizes follow from those of
their inputs; its shape is an input.
"""

_STANDARD = """
    Abs Add And ArgMax ArgMin Cast Ceil Clip Concat Cos CumSum Div Equal Exp Expand Flatten Floor Gather
    GatherElements Gemm Greater GreaterOrEqual Hardmax Identity IsInf IsNaN Less LessOrEqual Log MatMul
    Max Min Mod Mul Neg Not Or Pow Reciprocal ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum
    ReduceSumSquare Relu Reshape Round Scan Shape Sigmoid Sign Sin Slice Softmax Sqrt Squeeze Sub Sum Tanh
    TopK Transpose Unsqueeze Where
"""
# TreeEnsembleRegressor and Scaler were written by earlier exports.
_MACHINE_LEARNING = """
    ArrayFeatureExtractor LabelEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""
# Domain -> its operators. An operator of any other domain would be native code from elsewhere.
OPERATORS = {
    "": frozenset(_STANDARD.split()),
    "ai.onnx": frozenset(_STANDARD.split()),
    "ai.onnx.ml": frozenset(_MACHINE_LEARNING.split()),
}
