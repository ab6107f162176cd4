"""Clients on other machines: parties' folders, certificates, SuperLink, a run."""
