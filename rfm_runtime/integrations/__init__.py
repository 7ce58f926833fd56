"""What runs in executors of other libraries, reported: `futures`, `joblib`, `dask`, each loaded only if asked for."""
