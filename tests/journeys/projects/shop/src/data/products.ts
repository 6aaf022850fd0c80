import list from "./products.json";

export type Kind = "oil" | "electric" | "candle";

export interface Product {
  id: string;
  name: string;
  kind: Kind;
  cents: number;
  text: string;
}

export const products = list as Product[];

export const find = (id: string | undefined) => products.find((product) => product.id === id);
