"""What is to be said of operations that were: of those of a period (`period`), or of one of them (`single`).

A report is a value (`report`) that holds every figure; whoever writes it down as a page or a file computes nothing.
"""
