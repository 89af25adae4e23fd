"""Django REST framework."""

from contextlib import AbstractContextManager

from tests.integrations.apps.django_project import open_wsgi
from tests.integrations.plan import Plan
from tests.integrations.wsgi import WsgiClient


class DrfApp:
    name = "drf"

    def open(self, plan: Plan) -> AbstractContextManager[WsgiClient]:
        # By its name: the framework reads its settings when it is imported.
        return open_wsgi(plan, "tests.integrations.apps.drf_views")
