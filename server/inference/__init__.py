"""Running a model: from checked rows to labels, scores and the time that each phase took."""
