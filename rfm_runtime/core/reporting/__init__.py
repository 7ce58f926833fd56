"""The reporter's mind: what a program that reports its own operations says to the broker, and when."""
