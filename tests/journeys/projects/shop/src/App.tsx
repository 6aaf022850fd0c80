import { lazy, Suspense } from "react";
import { Link, Outlet, Route, Routes } from "react-router-dom";
import { CartSheet } from "@/components/cart-sheet";
import { ThemeToggle } from "@/components/theme-toggle";
import { Home } from "@/pages/home";

const ProductPage = lazy(() => import("@/pages/product"));

function Layout() {
  return (
    <div className="mx-auto flex min-h-screen max-w-3xl flex-col gap-8 p-6">
      <header className="flex items-center gap-2">
        <Link to="/" className="mr-auto text-lg font-semibold">
          Lantern Shop
        </Link>
        <ThemeToggle />
        <CartSheet />
      </header>
      <main className="flex flex-col gap-8">
        <Suspense fallback={<p>Loading…</p>}>
          <Outlet />
        </Suspense>
      </main>
    </div>
  );
}

export default function App() {
  return (
    <Routes>
      <Route element={<Layout />}>
        <Route index element={<Home />} />
        <Route path="products/:id" element={<ProductPage />} />
        <Route path="*" element={<p>This page does not exist.</p>} />
      </Route>
    </Routes>
  );
}
