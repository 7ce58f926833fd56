"""Chaos: a real runtime under load, harmed as a seed plans, and an outside checker of what everybody was told.

`plan` decides, `harness` performs it with `proxy`, `processes`, `clock` and `disk`, `crowd` is who works and watches
meanwhile, `checker` judges. Run by `rfm-runtime chaos`; each part is used by tests by itself.
"""
