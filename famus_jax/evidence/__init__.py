"""Evidence on labels: what a training tells of each of them, and the issues that follow from it.

margins             how much better the given label looks than any other class
sums                evidence gathered in any training loop
neighbors           what the nearest examples say
self_test           whether the evidence ranks wrong labels low
score, confident, calibrate    one score; how many labels are wrong; a probability for each
seen                how many are wrong, by networks that were trained on them
label_issues        all of it, as a pure function of arrays
table               the answer as columns, and as a CSV
"""
