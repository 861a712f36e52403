"""Programs that read with the clients of the field, and the table of what comes of it."""
