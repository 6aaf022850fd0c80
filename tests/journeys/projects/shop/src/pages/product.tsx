import { ArrowLeft } from "lucide-react";
import { Link, useParams } from "react-router-dom";
import { Button } from "@/components/ui/button";
import { find } from "@/data/products";
import { price } from "@/lib/utils";
import { useCart } from "@/store/cart";

export default function ProductPage() {
  const { id } = useParams<{ id: string }>();
  const add = useCart((state) => state.add);
  const product = find(id);
  if (!product) return <p>There is no product {id}.</p>;
  return (
    <article className="flex flex-col gap-4">
      <Button asChild variant="ghost" className="w-fit">
        <Link to="/">
          <ArrowLeft /> All products
        </Link>
      </Button>
      <h1 className="text-3xl font-bold tracking-tight">{product.name}</h1>
      <p className="max-w-prose text-muted-foreground">{product.text}</p>
      <strong className="text-xl">{price(product.cents)}</strong>
      <Button className="w-fit" onClick={() => add(product)}>
        Add to cart
      </Button>
    </article>
  );
}
