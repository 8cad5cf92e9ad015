"""Files scored by ``unpickled predict``, and by scikit-learn with joblib: rows/s, equal answers, memory."""
