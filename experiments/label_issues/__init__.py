"""The audit against other ways to find wrong labels. The command: `experiments.label_issues`."""
