"""The life of a link: the steps of each dataset, and its live links."""
