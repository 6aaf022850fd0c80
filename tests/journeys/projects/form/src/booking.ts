import { z } from "zod";

export const bookingSchema = z
  .object({
    name: z.string().trim().min(2, "Please enter your name"),
    email: z.email("Please enter an e-mail address"),
    guests: z.coerce.number<string>().int().min(1, "At least one guest").max(8, "At most eight guests"),
    arrival: z.iso.date("Please choose a day"),
    departure: z.iso.date("Please choose a day"),
  })
  .refine(({ arrival, departure }) => departure > arrival, { path: ["departure"], message: "The departure must be after the arrival" });

export type BookingInput = z.input<typeof bookingSchema>;
export type Booking = z.output<typeof bookingSchema>;
