import { Minus, Plus, ShoppingCart } from "lucide-react";
import { Button } from "@/components/ui/button";
import { Sheet, SheetContent, SheetDescription, SheetTitle, SheetTrigger } from "@/components/ui/sheet";
import { products } from "@/data/products";
import { price } from "@/lib/utils";
import { countOf, totalOf, useCart } from "@/store/cart";

export function CartSheet() {
  const { counts, add, remove, clear } = useCart();
  const count = useCart(countOf);
  const total = useCart(totalOf);
  return (
    <Sheet>
      <SheetTrigger asChild>
        <Button variant="outline" aria-label={`Cart, ${count} items`}>
          <ShoppingCart /> {count}
        </Button>
      </SheetTrigger>
      <SheetContent>
        <SheetTitle className="text-lg font-semibold">Your cart</SheetTitle>
        <SheetDescription className="text-sm text-muted-foreground">{count === 0 ? "It is empty." : `Total ${price(total)}`}</SheetDescription>
        <ul className="flex flex-1 flex-col gap-3">
          {products
            .filter(({ id }) => counts[id])
            .map((product) => (
              <li key={product.id} className="flex items-center gap-2">
                <span className="flex-1">{product.name}</span>
                <Button size="icon" variant="ghost" aria-label={`One ${product.name} less`} onClick={() => remove(product.id)}>
                  <Minus />
                </Button>
                <output aria-label={`Number of ${product.name}`}>{counts[product.id]}</output>
                <Button size="icon" variant="ghost" aria-label={`One ${product.name} more`} onClick={() => add(product)}>
                  <Plus />
                </Button>
              </li>
            ))}
        </ul>
        <Button onClick={clear} disabled={count === 0}>
          Empty the cart
        </Button>
      </SheetContent>
    </Sheet>
  );
}
