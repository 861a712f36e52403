"""Speed and memory against kerchunk, VirtualiZarr and esgcet, as ratios in the same run. ``python
-m benchmarks`` does it all.
"""
