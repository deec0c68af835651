"""The local stack: one supervised instance of every process, its state in one folder."""
