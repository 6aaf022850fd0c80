import { useState } from "react";
import { useFieldArray, useForm } from "react-hook-form";
import { zodResolver } from "@hookform/resolvers/zod";
import { Field } from "./components/Field";
import { bookingSchema, type Booking, type BookingInput } from "./booking";

type Form = BookingInput & { wishes: { text: string }[] };

export default function App() {
  const [booked, setBooked] = useState<Booking>();
  const {
    control,
    register,
    handleSubmit,
    watch,
    formState: { errors, isSubmitting },
  } = useForm<Form, unknown, Booking>({
    resolver: zodResolver(bookingSchema) as never,
    defaultValues: { name: "", email: "", guests: "2", arrival: "", departure: "", wishes: [] },
  });
  const { fields, append, remove } = useFieldArray({ control, name: "wishes" });
  const guests = watch("guests");

  if (booked) {
    return (
      <main>
        <h1>Thank you, {booked.name}</h1>
        <p data-testid="summary">
          {booked.guests} guests from {booked.arrival} to {booked.departure}
        </p>
        <button type="button" onClick={() => setBooked(undefined)}>
          Change the booking
        </button>
      </main>
    );
  }
  return (
    <main>
      <h1>Book a room</h1>
      <form noValidate onSubmit={handleSubmit(setBooked)}>
        <Field label="Name" autoComplete="name" error={errors.name?.message} {...register("name")} />
        <Field label="E-mail" type="email" error={errors.email?.message} {...register("email")} />
        <Field label={`Guests (${guests})`} type="number" error={errors.guests?.message} {...register("guests")} />
        <Field label="Arrival" type="date" error={errors.arrival?.message} {...register("arrival")} />
        <Field label="Departure" type="date" error={errors.departure?.message} {...register("departure")} />
        {fields.map(({ id }, at) => (
          <div key={id}>
            <Field label={`Wish ${at + 1}`} {...register(`wishes.${at}.text`)} />
            <button type="button" onClick={() => remove(at)}>
              Remove wish {at + 1}
            </button>
          </div>
        ))}
        <button type="button" onClick={() => append({ text: "" })}>
          Add a wish
        </button>
        <button type="submit" disabled={isSubmitting}>
          Book
        </button>
      </form>
    </main>
  );
}
