"""How a ReferenceSet is written. One module per output; kerchunk JSON is the default."""
