"""Do many devices give the numbers of one?  `python -m experiments.parity`"""
