import { Link } from "react-router-dom";
import { Hero } from "@/components/hero";
import { Button } from "@/components/ui/button";
import { Card, CardTitle } from "@/components/ui/card";
import { Tabs, TabsContent, TabsList, TabsTrigger } from "@/components/ui/tabs";
import { products, type Kind } from "@/data/products";
import { price } from "@/lib/utils";
import { useCart } from "@/store/cart";

const KINDS: { value: Kind | "all"; name: string }[] = [
  { value: "all", name: "All" },
  { value: "electric", name: "Electric" },
  { value: "candle", name: "Candle" },
];

export function Home() {
  const add = useCart((state) => state.add);
  return (
    <>
      <Hero />
      <Tabs defaultValue="all">
        <TabsList>
          {KINDS.map(({ value, name }) => (
            <TabsTrigger key={value} value={value}>
              {name}
            </TabsTrigger>
          ))}
        </TabsList>
        {KINDS.map(({ value }) => (
          <TabsContent key={value} value={value} className="grid gap-4 sm:grid-cols-2">
            {products
              .filter(({ kind }) => value === "all" || kind === value)
              .map((product) => (
                <Card key={product.id}>
                  <CardTitle>
                    <Link to={`/products/${product.id}`} className="hover:underline">
                      {product.name}
                    </Link>
                  </CardTitle>
                  <p className="text-sm text-muted-foreground">{product.text}</p>
                  <div className="mt-auto flex items-center justify-between">
                    <strong>{price(product.cents)}</strong>
                    <Button onClick={() => add(product)}>Add {product.name}</Button>
                  </div>
                </Card>
              ))}
          </TabsContent>
        ))}
      </Tabs>
    </>
  );
}
