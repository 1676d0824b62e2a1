"""Speed and memory, side by side in one run on one machine; figures and plots in ``benchmarks/results``."""
