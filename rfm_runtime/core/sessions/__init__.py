"""The gateway's mind: what each watcher has seen, what it is sent next, what it may ask.

`hub.GatewayCore` is the whole of it. `replica` follows the broker's feed, `session` is one watcher, `pace` how often
it is sent progress, `encoded` what is encoded once and sent to many.
"""
