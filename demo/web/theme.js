// Loaded before the page is painted, so that a chosen theme does not flash. Without a choice the system decides.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
