"""Hostile input in great numbers for both codecs and the gateway's core, from a seed: `make fuzz COUNT=1000000`.

`inputs` makes them from every message of the protocol, `targets` feeds them and says what is wrong, `__main__` runs as
many as are asked for in bounded memory and measures whether anything grows.
"""
