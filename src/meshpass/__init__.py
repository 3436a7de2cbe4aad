"""Meshpass: JSON Web Token policy on the routes of a service mesh."""
