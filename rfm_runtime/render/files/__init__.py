"""Files that a view is kept in, as pure functions between their bytes and the parameters of a request.

`params` knows them all. TOML and Kalles Fraktaler's files are read and written here; a PNG is written by the engine.
"""
