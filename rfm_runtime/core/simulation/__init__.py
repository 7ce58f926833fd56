"""Operations that nobody needs: what a simulation does and when, and whether a server tells it as it was."""
