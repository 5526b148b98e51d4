"""Do many devices give the numbers of one?"""
