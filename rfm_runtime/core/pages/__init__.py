"""What a report looks like: a page that needs nothing else, a table, JSON. Pure functions of the report's value.

`formats` is the entrance. Pages are put together from `elements`, `charts` and `tables`; what figures are called is in
`words`, what they look like in `style.css`.
"""
