// Shows only the notes with the chosen tag.
const buttons = document.querySelectorAll(".tags button");
const posts = document.querySelectorAll(".posts > li");
const count = document.querySelector("#count");

function show(tag) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.tag === tag));
  for (const post of posts) post.hidden = tag !== "" && post.dataset.tag !== tag;
  const shown = [...posts].filter((post) => !post.hidden).length;
  count.textContent = shown === 1 ? "1 note" : `${shown} notes`;
}

for (const button of buttons) button.addEventListener("click", () => show(button.dataset.tag));
