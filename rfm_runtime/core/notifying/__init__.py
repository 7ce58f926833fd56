"""Who is told what, and how: decided by rules, in every face alike.

`rules` says whom a rule means, `quiet` when nobody is to be disturbed, `words` what is said, and `notifier` what of
that is told: each once, a flood in one sentence, and nothing that was so before one looked.
"""
