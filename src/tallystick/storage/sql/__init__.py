"""Sessions in an SQL database: SQLite and PostgreSQL, by SQLAlchemy Core.

``schema`` says what is kept, ``statements`` is the contract as SQL, ``engine`` makes connections from a URL,
``revision`` tells whether the database fits this version, ``migrations`` makes it fit, ``store`` ties them together.
"""
