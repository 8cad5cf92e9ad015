"""Fit a pipeline of your own and export it: text beside numbers, gaps, a calibrated forest."""

from pathlib import Path

import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from unpickled import export_pipeline

customers = pd.read_csv(Path(__file__).parent / "customers.csv")
rows, churned = customers.drop(columns="churned"), customers["churned"]
train, held_out, train_labels, held_out_labels = train_test_split(rows, churned, random_state=0)

columns = make_column_transformer(
    (SimpleImputer(strategy="median"), ["age", "months", "support_calls", "monthly_spend"]),
    (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
)
forest = CalibratedClassifierCV(RandomForestClassifier(10, random_state=0), cv=3)
pipeline = make_pipeline(columns, forest).fit(train, train_labels)

# Raises an error, and writes nothing, if the file would answer otherwise than the pipeline.
export = export_pipeline(
    pipeline, train, train_labels, name="churn", held_out=held_out, held_out_y=held_out_labels
)
parity = export.manifest.parity
compared = sum(parity.rows.values())
print(f"{export.path}: largest difference {parity.max_difference:.1e} on {compared:,} rows")
