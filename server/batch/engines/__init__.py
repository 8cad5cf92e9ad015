"""The engines that score the parts of a batch job: this machine, Ray, Spark, Dask."""
