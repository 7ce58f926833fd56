"""The engine's mind: which tile runs where, what happens when a worker dies, when a render is done.

`engine.EngineCore` is the whole of it: `handle(message, now_s) -> commands`. `run` is one render, `order` the
order of its tiles, `messages` what goes in and out.
"""
