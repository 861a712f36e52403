"""The life of a link: what was decided for a dataset, step by step, and what is live."""
