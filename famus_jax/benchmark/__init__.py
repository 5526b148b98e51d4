"""Benchmarks: what a step of every estimator costs against a plain step and second order."""
