"""The facades' own scenarios, with a core instead of a store: all that the interface can express."""

from tests.unit import test_claims, test_facades, test_thefts

_OF_A_STORE = "is about a store that the test looks into, or breaks"
_NOT_OVER_CDI = "the interface has no words for it"

EXCEPT = {
    "test_get_checks_anti_csrf_only_if_the_session_was_created_with_it": "needs a setting, see test_core.py",
    "test_get_refuses_every_other_token": "needs a setting, see test_core.py",
    "test_refresh_checks_a_given_anti_csrf_token_only": "a core always checks it, see test_core.py",
    "test_without_a_grace_the_parent_retires_at_once": "the kind of a reuse is not told, see test_core.py",
    "test_the_parent_retires_after_the_grace": "the kind of a reuse is not told, see test_core.py",
    "test_refresh_refuses_what_is_no_refresh_token": "why is not told, see test_core.py",
    "test_at_refresh_the_parent_retires_though_nobody_sees_the_first_use": _NOT_OVER_CDI,
    "test_others_verify_by_the_published_keys": "a core signs with RS256",
    "test_information_is_what_the_store_knows": "without the last refresh, see test_core.py",
    "test_purge_deletes_what_is_over_and_says_how_many": "a core purges by itself",
    "test_opening_makes_a_key_and_closing_is_allowed_twice": "see test_core.py",
    "test_two_apps_on_one_store_do_not_see_each_other": _OF_A_STORE,
    "test_two_processes_on_one_store_accept_each_others_tokens": _OF_A_STORE,
    "test_a_new_secret_with_the_former_beside_it_signs_nobody_out": _OF_A_STORE,
    "test_a_wrong_secret_is_an_error_and_never_a_sign_out": _OF_A_STORE,
    "test_over_a_fortnight_keys_rotate_and_honest_clients_never_notice": _OF_A_STORE,
    "test_a_broken_store_is_general_with_its_cause_and_never_a_sign_out": _OF_A_STORE,
    "test_a_store_that_cannot_be_opened_is_general_too": _OF_A_STORE,
    "test_a_theft_is_recorded_once_with_both_sides": _NOT_OVER_CDI,
    "test_thefts_are_listed_by_user_and_newest_first": _NOT_OVER_CDI,
    "test_a_limit_out_of_range_is_refused": _NOT_OVER_CDI,
    "test_a_purge_drops_events_that_are_old_enough": _NOT_OVER_CDI,
    "test_information_names_the_client_that_refreshed_last": _NOT_OVER_CDI,
    "test_what_the_settings_forbid_is_kept_nowhere": _NOT_OVER_CDI,
    "test_what_a_client_says_of_itself_is_cut_to_what_is_safe": _NOT_OVER_CDI,
    "test_the_handler_is_called_once_with_the_event": "events have less in them, see test_core.py",
    "test_a_handler_that_raises_changes_nothing_and_is_logged": "makes a facade whose core has not the tenant",
    "test_handlers_that_hang_hold_up_nobody_and_are_bounded": "makes a facade whose core has not the tenant",
}
"""Which not, and why."""

_MODULES = (test_facades, test_claims, test_thefts)
_SCENARIOS = {
    name: scenario for module in _MODULES for name, scenario in vars(module).items() if name.startswith("test_")
}
globals().update({name: scenario for name, scenario in _SCENARIOS.items() if name not in EXCEPT})


def test_what_is_left_out_exists():
    assert EXCEPT.keys() <= _SCENARIOS.keys()
    assert len(_SCENARIOS) == sum(name.startswith("test_") for module in _MODULES for name in vars(module))
