import { createRouter, createWebHistory } from "vue-router";
import HomeView from "@/views/HomeView.vue";
import BookView from "@/views/BookView.vue";

export const router = createRouter({
  history: createWebHistory(import.meta.env.BASE_URL),
  routes: [
    { path: "/", name: "home", component: HomeView },
    { path: "/books/:id", name: "book", component: BookView, props: true },
    { path: "/about", name: "about", component: () => import("@/views/AboutView.vue") },
  ],
});

router.afterEach(({ name }) => {
  document.title = `Reading: ${String(name)}`;
});
