"""Sessions in an SQL database: SQLite, PostgreSQL, MySQL and MariaDB, by SQLAlchemy Core.

``schema`` says what is kept, in ``columns`` of which kinds, ``statements`` is the contract as SQL, ``engine`` makes
connections from a URL, ``mysql`` is what MySQL and MariaDB need besides, ``revision`` tells whether the database fits
this version, ``migrations`` makes it fit, ``store`` ties them together.
"""
