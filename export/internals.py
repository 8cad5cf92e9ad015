"""Private names of scikit-learn that the export reads: check them before ``releases`` supports another one.

Fitted estimators keep some of the numbers that they compute with under private names only. The gate notices
when the meaning of one changes; this list tells beforehand where to look. A test compares it with the code.
"""

# The meaning of each is the same in every release that is supported.
ATTRIBUTES = {
    "_average_path_length_per_tree": "IsolationForest: what the rows of each node add to its depth, per tree",
    "_baseline_prediction": "HistGradientBoosting...: the sum of the trees starts here",
    "_curve_scorer": "TunedThresholdClassifierCV: the scorer, which knows the positive label",
    "_decision_function": "NearestCentroid: what it compares if its classes have priors",
    "_decision_path_lengths": "IsolationForest: the depth of each node, per tree",
    "_distances_fit_X_": "LocalOutlierFactor: distances of each training row from its neighbors",
    "_centerer": "KernelPCA: means of the kernel of the training rows",
    "_default_to_infrequent_mappings": "OneHotEncoder, OrdinalEncoder: group of each category, per column",
    "_drop_idx_after_grouping": "OneHotEncoder: the dropped group, per column",
    "_dual_coef_": "SVC, NuSVC: dual coefficients with libsvm's signs",
    "_fit_X": "KNNImputer, LocalOutlierFactor, KNeighborsClassifier, KNeighborsRegressor: the training rows",
    "_fit_method": "LocalOutlierFactor, KNeighbors...: brute computes products, the trees differences",
    "_gamma": "SVC, NuSVC, SVR, NuSVR, OneClassSVM: gamma as a number",
    "_get_pos_label": "the scorer of a TunedThresholdClassifierCV: its positive label, or None",
    "_get_tags": "any estimator, in 1.5 only: whether it takes NaN",
    "_infrequent_enabled": "OneHotEncoder, OrdinalEncoder: whether rare categories are grouped",
    "_intercept_": "SVC, NuSVC: intercepts with libsvm's signs",
    "_is_empty_feature": "IterativeImputer: whether training had no value, per column",
    "_lrd": "LocalOutlierFactor: the density around each training row",
    "_mask_fit_X": "KNNImputer: where the training rows have no value",
    "_max_features": "IsolationForest: number of columns of each tree",
    "_max_samples": "IsolationForest: number of rows of each tree",
    "_max_value": "IterativeImputer: the largest number to fill in, per column",
    "_min_value": "IterativeImputer: the smallest number to fill in, per column",
    "_missing_indices": "OrdinalEncoder: position of the missing category, per column",
    "_n_features_outs": "OneHotEncoder: number of output columns, per column",
    "_n_support": "SVC, NuSVC: number of support vectors of each class",
    "_predictors": "HistGradientBoosting...: the trees of each stage",
    "_preprocessor": "HistGradientBoosting...: encodes native categories, which it puts first",
    "_raw_predict_init": "GradientBoostingClassifier: the sum of the trees starts here",
    "_scaler": "PowerTransformer: the StandardScaler behind the curves",
    "_transformer_to_input_indices": "ColumnTransformer: positions of the columns of each transformer",
    "_valid_mask": "KNNImputer: whether training had a value, per column",
    "_weights_not_none": "VotingClassifier, VotingRegressor: weights of the members that were not dropped",
    "_x_mean": "PLSRegression, PLSCanonical, CCA: means of the columns",
    "_y": "KNeighborsClassifier, KNeighborsRegressor: the class or the targets of each training row",
    "_y_train_mean": "GaussianProcessRegressor: mean of each target, if they were normalised",
    "_y_train_std": "GaussianProcessRegressor: spread of each target, if they were normalised",
}

MODULES = {
    "sklearn.gaussian_process._gpc": "the process of two classes, and the constants of its probabilities",
    "sklearn.ensemble._iforest": "the expected length of a way through so many rows",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor: one tree and its array of nodes",
    "sklearn.impute._iterative": "IterativeImputer, which is experimental where users import it",
    "sklearn.tree._tree": "Tree: a decision tree's arrays over nodes",
}
