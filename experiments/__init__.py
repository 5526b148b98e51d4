"""Studies, and the commands as scripts: run them from the root of the repository.

`python -m experiments.NAME --help` says what a study asks. None of this is in the wheel.
"""
