"""The numbers in docs/performance.md, reproducible: `make bench`, or `python -m benchmarks --quick` for a first look.

Everything compared is measured side by side in one run, in alternating batches, so that the ratios hold on a busy
machine too. What was timed is checked: a figure of something that did not happen is not printed.
"""
