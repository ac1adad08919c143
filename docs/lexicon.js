// The theme puts a copy button into a landmark of its own on each block of code. Twenty of those on a
// page are noise for those who move from landmark to landmark.
new MutationObserver(() => {
  for (const nav of document.querySelectorAll("nav.md-code__nav:not([role])")) nav.setAttribute("role", "none");
}).observe(document.body, { childList: true, subtree: true });
