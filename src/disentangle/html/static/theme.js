// The button for the theme: the reader's system chooses until the button is pressed. Nothing is stored.
const themeButton = document.getElementById("theme");
const systemTheme = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  const chosen = document.documentElement.dataset.theme;
  themeButton.setAttribute("aria-pressed", String(chosen ? chosen === "dark" : systemTheme.matches));
}

themeButton.addEventListener("click", () => {
  const isDark = themeButton.getAttribute("aria-pressed") === "true";
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  showTheme();
});
systemTheme.addEventListener("change", showTheme);
showTheme();
themeButton.hidden = false;

// The skip link moves the reader without a change of the address, which says what is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});

// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
