"""All frameworks that the scenarios run on."""

from tests.integrations.apps.asgi_app import PlainAsgiApp
from tests.integrations.apps.django_app import DjangoWsgiApp
from tests.integrations.apps.django_async_app import DjangoAsgiApp
from tests.integrations.apps.drf_app import DrfApp
from tests.integrations.apps.fastapi_app import FastApiApp
from tests.integrations.apps.flask_app import FlaskApp
from tests.integrations.apps.starlette_app import StarletteApp
from tests.integrations.apps.wsgi_app import PlainWsgiApp
from tests.integrations.plan import AppUnderTest

FRAMEWORKS: list[AppUnderTest] = [
    StarletteApp(),
    FastApiApp(),
    PlainAsgiApp(),
    DjangoAsgiApp(),
    PlainWsgiApp(),
    FlaskApp(),
    DjangoWsgiApp(),
    DrfApp(),
]
