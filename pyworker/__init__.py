"""The Python worker of leangate: a FastCGI server for one app. README.md says how a gateway talks to it."""
